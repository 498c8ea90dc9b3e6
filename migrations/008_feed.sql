-- So that the rare events of a stage, a model or a developer are found without
-- looking at all there are. Each holds only the events that name one: they cost
-- a first load next to nothing, and the database a twentieth of its size.
CREATE INDEX events_stage ON events (stage) WHERE stage IS NOT NULL;
CREATE INDEX events_model ON events (model) WHERE model IS NOT NULL;
CREATE INDEX events_team  ON events (origin) WHERE origin GLOB 'team-events.jsonl/*';
