"""The actions (verbs) of a chat, as functions over one frozen bundle (:class:`chatsys.chat.bundle.Chat`).

``accounts`` registers, logs in and changes users; ``conversation`` joins, sends, acknowledges and leaves;
``fanout`` names the events that a verb publishes after the store has committed.
"""
