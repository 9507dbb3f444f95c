"""Sessions that are only in the store, on their way back into the process."""

from __future__ import annotations

import asyncio
from functools import partial

from cellwire.server.batch.limits import REMEMBERED_TOKENS
from cellwire.server.errors import DamagedRecord, FailedPrecondition, InvalidArgument, NotFound
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.settings import Settings
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.text_ends import TextEnds
from cellwire.server.session.change_log import ChangeLog
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.stored_session import StoredHead, StoredSession
