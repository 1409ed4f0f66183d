"""What a program sees of cells: public names only, over the network in memory and over gRPC."""
