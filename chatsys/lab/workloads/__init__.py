"""The operations of the guide's table, for everything that can be measured.

``operation`` defines an operation. ``stores`` performs the operations on a store, ``baselines`` with a bare connection
or plain Python containers, ``endpoints`` over HTTP and Socket.IO.
"""
