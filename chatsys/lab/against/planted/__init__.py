"""A folder for PYTHONPATH. Its ``sitecustomize`` slows one function of a process down."""
