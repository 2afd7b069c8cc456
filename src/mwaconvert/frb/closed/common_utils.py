"""frb_common.common_utils: constants of the instrument."""

from __future__ import annotations

#: of the band of 16384 channels, edges
freq_bottom_mhz = 400.1953125
freq_top_mhz = 800.1953125
channel_bandwidth_mhz = 0.390625
sampling_time_s = 0.00098304
#: dispersion constant, MHz^2 s cm^3 / pc
k_dm = 1 / 2.41e-4
