"""Transients in real time at ARTS: from lines of a search program to triggers, as functions of streams.

Nothing here runs by itself: no process, no queue, no clock. Services on top are loops around these functions.
"""
