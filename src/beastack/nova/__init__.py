"""The bhyve compute driver. Nothing is imported here: the guest supervisor lives below and must stay
small.
"""
