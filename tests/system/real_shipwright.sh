#!/usr/bin/env bash
# Runs real functions of a Shipwright checkout: real_shipwright.sh CHECKOUT COMMAND [ARGUMENT ...]
# HOME is a scratch home. Nothing of Shipwright is copied here: functions that only whole programs
# define are taken out of the checkout's own text, and run as they stand there.
set -euo pipefail
checkout=$1 command=$2
shift 2
scripts=$checkout/scripts
export NO_COLOR=1

function_of() { # SCRIPT NAME: define a function as the script has it
    eval "$(sed -n "/^ *$2() {/,/^ *}\$/p" "$scripts/$1")"
}

case "$command" in
    emit) # FROM LEAST END: events of every kind of value, numbered, until the file END is there; prints the last number
        source "$scripts/lib/helpers.sh"
        ended=0
        for ((seq = $1; seq < $1 + $2 || !ended; seq++)); do
            case $((seq % 8)) in
                0) emit_event "real.long" "seq=$seq" "text=$(printf 'x%.0s' {1..5000})" ;;
                1) emit_event "real.colour" "seq=$seq" "text=$(printf '\033[31mred\033[0m')" ;;
                2) emit_event "real.number" "seq=$seq" "commit=0071234" "share=85." ;;
                3) emit_event "real.quoted" "seq=$seq" 'text=say "no" to C:\new' ;;
                4) emit_event "real.lines" "seq=$seq" "text=one"$'\n'"two"$'\t'"three" ;;
                5) emit_event "real.cut" "seq=$seq" "text=$(printf 'Pr\303')" ;;
                6) emit_event "memory.decision" "seq=$seq" "type=adr" "summary=kept" ;;
                *) emit_event "real.plain" "seq=$seq" "issue=$((seq % 50))" "stage=build" ;;
            esac
            [[ ! -e $3 ]] || ended=1
        done
        echo $((seq - 1))
        ;;
    fallback) # FROM TO: the emitter of scripts that find no library beside them
        function_of sw-heartbeat.sh emit_event
        for ((seq = $1; seq <= $2; seq++)); do emit_event "real.fallback" "seq=$seq"; done
        ;;
    trim) # the pipeline's rotation: over 10,000 lines, the last 5,000 stay
        source "$scripts/lib/helpers.sh"
        function_of sw-pipeline.sh rotate_event_log_if_needed
        rotate_event_log_if_needed
        ;;
    rotate) # the daemon's rotation: over 50 MiB, by renaming
        source "$scripts/lib/helpers.sh"
        function_of sw-daemon.sh rotate_event_log
        rotate_event_log
        ;;
    costs) # COUNT
        for ((n = 1; n <= $1; n++)); do
            bash "$scripts/sw-cost.sh" record $((n * 1000)) $((n * 10)) sonnet build "$n"
        done
        ;;
    budget) bash "$scripts/sw-cost.sh" budget set "$1" ;;
    failures) # COUNT: as many patterns, the first seen twice
        source "$scripts/sw-memory.sh"
        for ((n = 1; n <= $1; n++)); do memory_capture_failure test "Error: number $n failed"; done
        memory_capture_failure test "Error: number 1 failed"
        ;;
    decisions) # COUNT
        for ((n = 1; n <= $1; n++)); do bash "$scripts/sw-memory.sh" decision adr "decision $n" "because"; done
        ;;
    metric) bash "$scripts/sw-memory.sh" metric "$1" "$2" ;;
    heartbeat) # JOB ISSUE
        bash "$scripts/sw-heartbeat.sh" write "$1" --issue "$2" --stage build --iteration 3 --activity "Running tests"
        ;;
    publish) bash "$scripts/sw-eventbus.sh" publish "$1" tests "" '{"key":"value"}' ;;
    *)
        echo "unknown command: $command" >&2
        exit 2
        ;;
esac
