"""Runs in a Python that has `your` and fitburst: what they read of a file, as JSON; arrays into an .npz beside it.

Arguments: your or fitburst, the file, the .npz.
"""

import contextlib
import io
import json
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")  # of what these packages do with newer ones
reader, path, target = sys.argv[1:]


def by_your():
    from your import Your

    file = Your(path)
    head = file.your_header
    n = int(sys.stdin.read())
    np.savez(target, data=file.get_data(0, n))
    names = ("nchans", "foff", "fch1", "tsamp", "tstart", "nbits", "source_name")
    return {name: getattr(head, name) for name in names}


def by_fitburst():
    from fitburst.analysis.fitter import LSFitter
    from fitburst.analysis.model import SpectrumModeler
    from fitburst.backend.generic import DataReader

    file = DataReader(path)
    file.load_data()
    good = file.data_weights.sum(1) != 0
    guess = dict(file.burst_parameters)
    dm, arrival_s = guess["dm"][0], guess["arrival_time"][0]
    file.dedisperse(dm, arrival_s, ref_freq=guess["ref_freq"][0], dm_offset=0.0)
    window, times = file.window_data(arrival_s, window=0.05)
    np.savez(target, data=file.data_full, freq_mhz=file.freqs, window=window, good=good)
    model = SpectrumModeler(file.freqs, times, dm_incoherent=dm, num_components=1, is_dedispersed=True)
    model.update_parameters(guess | {"dm": [0.0]})
    fit = LSFitter(window, model, good, weighted_fit=True)
    free = ("amplitude", "arrival_time", "burst_width", "ref_freq")  # the last is never fitted
    fit.fix_parameter([name for name in guess if name not in free])
    fit.fit(exact_jacobian=True)
    return {
        "dedispersed": bool(file.is_dedispersed),
        "dm": dm,
        "dt_s": file.res_time,
        "start_mjd": file.times_bin0,
        "fitted": fit.fit_statistics["bestfit_parameters"],
    }


with contextlib.redirect_stdout(io.StringIO()):
    found = {"your": by_your, "fitburst": by_fitburst}[reader]()
print(json.dumps(found))
