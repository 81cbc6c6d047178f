"""A folder for PYTHONPATH: its ``sitecustomize`` slows one function of a process down."""
