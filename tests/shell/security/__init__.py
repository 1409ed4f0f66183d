"""Certificates, identities and policy, each by itself."""
