"""Jobs of archives carried out in this process, one after the other, for those who have no service."""

from __future__ import annotations

import socket
from collections.abc import Collection

from mwaconvert.jobs.control.outbox import send_pending
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job, Message, Workflow
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.delivery.mail import KIND as MAIL
from mwaconvert.jobs.delivery.mail import mail_sender
from mwaconvert.jobs.workflows.archives.kinds import archives
from mwaconvert.jobs.workflows.archives.site import ArchiveSite


def kinds(site: ArchiveSite) -> dict[str, Workflow]:
    """Kinds of jobs of an archive."""
    return {workflow.kind: workflow for workflow in archives(site)}


def worker_here(site: ArchiveSite, store: Store) -> Worker:
    """A worker of this machine that takes over what the one before it left."""
    end_batch = None if site.slurm is None else site.slurm.cancel
    worker_id = f"{socket.gethostname()}-here"
    return Worker(store, kinds(site), site.work, worker_id=worker_id, end_batch=end_batch)


def carry_on(site: ArchiveSite, store: Store, only: Collection[int] | None = None) -> None:
    """Do what is queued, up to gates and ends; a job that a killed process left is taken up again.

    Parameters
    ----------
    only : ids of jobs; by default all jobs of archives

    Raises
    ------
    ResourceError
        Another process does the same on this machine.
    """
    worker = worker_here(site, store)
    worker.start()
    try:
        while any(worker.carry_out(job.id, job.run) for job in _queued(worker, only)):
            pass
    finally:
        worker.stop()


def _queued(worker: Worker, only: Collection[int] | None) -> list[Job]:
    queued = worker.store.jobs(states=[State.QUEUED], limit=None)
    return [
        job for job in reversed(queued) if job.kind in worker.registry and (only is None or job.id in only)
    ]


def send_mail(site: ArchiveSite, store: Store, sender_id: str) -> list[Message]:
    """Send the mail that waits in the outbox; other messages are left to their senders."""
    senders = {} if site.mail is None else {MAIL: mail_sender(site.mail)}
    return send_pending(store, senders, sender_id, kinds=[MAIL])
