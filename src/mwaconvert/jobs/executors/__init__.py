"""What carries out the jobs of a cluster: programs of this machine, containers, batch jobs of containers."""
