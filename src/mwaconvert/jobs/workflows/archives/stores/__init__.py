"""Stores of an archive: folders, web servers, S3, NGAS, a program of the observatory."""
