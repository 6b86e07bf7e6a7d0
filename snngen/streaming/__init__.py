"""Live running: events stream in, outputs stream out, and every event is accounted for.

    source --(reader thread)--> EventQueue --(simulator thread)--> OutputQueue --(whoever iterates)--> outputs

`runner.py` holds it together; `application.py` says what an application is and `spike_counts.py` is the one for any
network; `event_queue.py` and `output_queue.py` are the bounded queues with their policies; `clock.py` cuts the stream
into periods; `tally.py` counts events, `heard.py` and `histogram.py` latencies; `work.py` says what an output cost in
operations, `status.py` how it all goes; `scaled.py` fits a source to an application's sensor.

    from snngen.sources import open_source
    from snngen.streaming.runner import Stream

    with Stream(open_source("synthetic:bar"), application, policy="drop-oldest") as stream:
        for output in stream:
            ...
    print(stream.status())

**Every event is counted:** sent = processed + dropped (by reason) + merged + waiting, at every moment, and nothing
waits at the end. `sent` is what the source handed over; what it refused itself is in its `rejected`.
"""

from __future__ import annotations
