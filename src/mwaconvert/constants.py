"""Constants of physics, of calendars and of FITS. The simulator has its own, as it is a test of the converter."""

SPEED_OF_LIGHT_M_S = 299792458.0
SECONDS_PER_DAY = 86400.0
#: 1970 January 1
UNIX_EPOCH_MJD = 40587.0
#: Julian date of day 0 of the modified ones
JD_OF_MJD_ZERO = 2400000.5
#: bytes of which headers and data of FITS files fill whole numbers, and of a card of a header
FITS_BLOCK, FITS_CARD = 2880, 80
