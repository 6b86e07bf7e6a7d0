"""Dynamics: spiking networks in continuous time, with float parameters and time constants in seconds.

`network.py` holds what a network is, `neurons/` and `synapses/` one file per model (found by file name), `rules/` one
file per fixed-step update rule, `reference.py` what a network computes.

**Events are Dirac pulses of current.** An event of weight w that reaches a neuron at time t is the input current

    I(t') = w * delta(t' - t)        (w is a charge: current times seconds)

so that it makes a potential or a synaptic current jump by the integral of its equation over the pulse:

    integrate-and-fire    dv/dt = r I                      v jumps by r * w
    leaky                 tau_mem dv/dt = v_leak - v + r I   v jumps by r * w / tau_mem
    current-based         tau_syn di/dt = -i + w_in I        i jumps by w_in * w / tau_syn, v does not jump

A clocked run of step dt that gives the current w / dt for one step converges to it as dt -> 0. Where others (snnTorch,
norse, NIR's clocked conformance tests) give the current w for one step of length dt, their weight is w * dt here.

**When a neuron fires.** Time is counted in whole nanoseconds. A neuron fires at the first nanosecond at which its
potential is above (strictly, as in NIR) its threshold. All deliveries of one moment are summed first. With reset
"value" the potential becomes `v_reset`; with "subtract" the threshold is subtracted, and if the potential is still
above, the neuron fires again at the same moment, until it is not.

**Order.** Events of one moment are ordered by population, then by neuron. Projections without delay lead to later
populations and arrive in the same moment; every cycle has a delay.
"""

from __future__ import annotations
