"""The operations of the guide's table, for each thing that can be under test.

``operation`` says what an operation is; ``stores`` performs them on a store, ``baselines`` with a bare connection or
plain Python containers, ``doors`` over HTTP and Socket.IO.
"""
