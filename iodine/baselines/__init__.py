"""Other models of scenes than IODINE, which keep the same contract, `iodine.model`."""
