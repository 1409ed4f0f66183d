"""Who a cell is, and what it may do: certificates, identities, policy.

Only this room knows X.509. What it needs for that (``cryptography``, ``pyOpenSSL``) comes with the extra ``tls``, and
is imported when it is needed: a program without TLS does not have it.
"""
