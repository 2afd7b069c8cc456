"""What scripts of CHIME/FRB import from packages that are not public: our own code under the names they use.

`iautils.cascade`, `iautils.spectra`, `iautils.spectra_utils` and `frb_common.common_utils`. A script sees them only
where `mwaconvert frb run-script` runs it.
"""
