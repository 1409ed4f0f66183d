"""Sessions: keys that the lives of two cells share, and the handshakes by which they come to them."""
