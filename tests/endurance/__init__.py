"""Long runs that no test suite waits for: kills at random times, and a run that goes on and on."""
