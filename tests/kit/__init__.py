"""What tests share: cells and networks, payloads, waiting and times, proxies, programs in processes of their own.

A module that more than one folder of tests uses is here, once.
"""
