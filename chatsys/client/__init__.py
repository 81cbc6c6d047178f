"""The client's side of the protocol, for load users, the lab and the checklist: no chat in it.

address, binary, errors         URL, headers, cookies, TLS; bytes in packets; what may go wrong
namespace, session, transport   Engine.IO and Socket.IO without I/O
asynchronous                    AsyncClient: one connection on asyncio
blocking                        SocketIOClient: one connection on gevent, for load; needs the extra ``loadtest``
requests                        HTTP: one request, or a kept connection whose requests are measured
"""
