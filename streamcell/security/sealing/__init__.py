"""Sealing from end to end: sessions between two lives of cells, and the streams that are sealed under them.

TLS 1.3 (RFC 8446) does what is hard: it proves both names, agrees on fresh secrets and exports them. What is done here
is to carry its handshake in frames, and to use the secrets for AES-256-GCM (RFC 5116) and HMAC (RFC 2104).
"""
