"""What a program sees of cells, by theme: public names only, over the network in memory and over gRPC."""
