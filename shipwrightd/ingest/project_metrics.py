def take_out_runs(db,x): pass
def add_runs(db,x): pass
