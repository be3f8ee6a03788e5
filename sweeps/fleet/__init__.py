"""Hosts on the nodes of a cluster: where they run, who has which trial, who comes and goes."""
