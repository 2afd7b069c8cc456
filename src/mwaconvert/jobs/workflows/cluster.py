"""Jobs of a cluster: a container, or what stands for it, is prepared and carried out."""

from __future__ import annotations

import time
from functools import partial

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.limits import NO_LIMIT, Capacity
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import (
    CancelledError,
    Context,
    Estimate,
    Job,
    Json,
    QuotaError,
    Request,
    Retry,
    Step,
    StepError,
    TransientError,
    Workflow,
)
from mwaconvert.jobs.executors.executor import Cluster
from mwaconvert.jobs.executors.order import Order, order_of

KIND = "cluster"
#: steps: until there is room; the image comes; the program runs
RESERVE, PREPARE, RUN = "reserve", "prepare", "run"
#: of a runtime that does not answer
_PATIENT = Retry(tries=3, first_s=1.0, longest_s=10.0)
_LOOK_S = 0.2


def workflow(cluster: Cluster) -> Workflow:
    """Steps of a job on a cluster."""
    return Workflow(
        KIND,
        (
            Step(RESERVE, partial(reserve, cluster=cluster)),
            Step(PREPARE, partial(prepare, cluster=cluster), retry=_PATIENT),
            Step(RUN, partial(run, cluster=cluster), retry=_PATIENT),
        ),
    )


def submit(store: Store, order: Order, owner: str, cluster: Cluster, capacity: Capacity = NO_LIMIT) -> Job:
    """Take an order in.

    Raises
    ------
    DuplicateError : a job of that name is listed
    QuotaError : a quota, or more cores than there are
    """
    cpus = cluster.reservations.cpus
    if cpus is not None and order.cpu_reservation > cpus:
        raise QuotaError(f"job_cpu_reservation is {order.cpu_reservation:g}, and there are {cpus:g} cores")
    needed = Estimate(memory=order.memory_reservation)
    request = Request(KIND, owner, order.canonical, order.shown, name=order.name, estimate=needed)
    return store.submit(request, allow_resubmit=True, capacity=capacity)


def understood(job: Job) -> Json:
    """Parameters of a job of any kind as the program understood them, as people may see them."""
    return order_of(job.canonical).shown if job.kind == KIND else job.canonical


def reserve(context: Context, cluster: Cluster) -> Json:
    """Wait until the cores of the job are free."""
    order = order_of(context.job.canonical)
    while time.time() < context.job.created + cluster.hold_s or not cluster.reservations.take(
        context, order.cpu_reservation
    ):
        if context.cancelled.wait(_LOOK_S):
            raise CancelledError(f"{order.name} was ended while it waited")
    return {}


def prepare(context: Context, cluster: Cluster) -> Json:
    """Bring the image, and say what the job will be kept from."""
    order = order_of(context.job.canonical)
    with cluster.reservations.using(context, order.cpu_reservation, is_last=False):
        try:
            prepared = cluster.executor.prepare(order)
        except ResourceError as error:
            raise TransientError(str(error)) from error
    return {"executor": cluster.executor.way.value, **prepared.record}


def run(context: Context, cluster: Cluster) -> Json:
    """Carry the order out, once."""
    order = order_of(context.job.canonical)
    with cluster.reservations.using(context, order.cpu_reservation, is_last=True):
        try:
            return cluster.executor.run(context, order)
        except ResourceError as error:
            raise StepError(str(error), Fault.RESOURCE) from error
