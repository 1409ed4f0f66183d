"""Lanes of the transport, and neighbours as the application knows them."""
