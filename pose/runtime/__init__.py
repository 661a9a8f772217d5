"""Default dtype and device, forks, worker processes, optional imports."""
