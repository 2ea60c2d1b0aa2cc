"""A table is split while PyPI's pypegasus3 reads, writes and scans it. Run by TestPythonClientThroughSplit.

    PEGASUS_META     meta addresses, comma separated
    PEGASUS_CONTROL  URL where the table can be split

Ends with status 0 if the client went on by itself, and each scan met each row once or failed.
"""
import os
import sys
import time
import traceback
import urllib.request

from twisted.internet import reactor, threads
from twisted.internet.defer import Deferred, inlineCallbacks, returnValue

from pypegasus.base.ttypes import error_types
from pypegasus.pgclient import Pegasus, PegasusScanner
from pypegasus.utils.tools import ScanOptions

OK = error_types.ERR_OK.value
ROWS = 200
TIMEOUT = 5000  # ms
WHOLE = 100  # s


def sleep(seconds):
    d = Deferred()
    reactor.callLater(seconds, d.callback, None)
    return d


def split():
    url = os.environ['PEGASUS_CONTROL'] + '/split'
    return urllib.request.urlopen(urllib.request.Request(url, b'', method='POST'), timeout=90).read().decode()


def row(i):
    return 'py.%d' % i


def scan_answer(scanner, answer, orig=PegasusScanner.scan_cb):
    if not isinstance(answer, dict) or answer['error'] != 0:
        raise Exception('partition %d of table %d is answered %r, context %r, of %r' % (scanner._gpid.get_pidx(), scanner._gpid.get_app_id(), answer, scanner._context_id, len(scanner._table.partition_dict)))
    return orig(scanner, answer)


PegasusScanner.scan_cb = scan_answer  # the client's own words don't say what was wrong


class Client(object):
    def __init__(self):
        self.c = Pegasus(os.environ['PEGASUS_META'].split(','), 'temp', TIMEOUT)
        self.wrong = []

    def scanner(self):
        o = ScanOptions()
        o.batch_size = 5
        return self.c.get_unordered_scanners(1, o)[0]

    @inlineCallbacks
    def step(self, s, met):
        """Moves s; True at its end."""
        got = yield s.get_next()
        if got is None:
            returnValue(True)
        h = got[0][0]
        if h in met:
            self.wrong.append('row %r is met twice in a scan' % (h,))
        met.add(h)
        returnValue(False)

    @inlineCallbacks
    def scan(self):
        """Returns how many rows a whole scan met, None if it failed."""
        s, met = self.scanner(), set()
        try:
            while True:
                done = yield self.step(s, met)
                if done:
                    returnValue(len(met))
        except Exception as e:
            print('INFO a scan fails: %s' % e)
            returnValue(None)

    @inlineCallbacks
    def put(self, i, v):
        ret = yield self.c.set(row(i), 's', v, 0, TIMEOUT)
        returnValue(isinstance(ret, tuple) and ret[0] == OK)

    @inlineCallbacks
    def run(self):
        ok = yield self.c.init()
        assert ok, 'init'
        for i in range(ROWS):
            ok = yield self.put(i, '0')
            assert ok, 'set'
        old, met = self.scanner(), set()
        for _ in range(12):
            yield self.step(old, met)
        over = []
        d = threads.deferToThread(split)
        d.addBoth(over.append)
        tried = failed = scans = 0
        while not over:
            for i in range(0, ROWS, 7):
                ok = yield self.put(i, '1')
                tried, failed = tried + 1, failed + (not ok)
            n = yield self.scan()
            if n is not None:
                scans += 1
                if n != ROWS:
                    self.wrong.append('a scan while the table is split meets %d rows of %d' % (n, ROWS))
        assert isinstance(over[0], str), over[0]
        print('INFO split: %s; %d writes meanwhile, %d failed; %d scans met all rows' % (over[0].strip(), tried, failed, scans))
        end, n = time.time() + 60, None
        i = 0
        while i < ROWS or n is None:
            if time.time() > end:
                raise AssertionError('row %d of %d after a minute, answered %r; the scan met %r' % (i, ROWS, ret, n))
            if i < ROWS:
                ret = yield self.c.set(row(i), 's', '2', 0, TIMEOUT)
                ok = isinstance(ret, tuple) and ret[0] == OK
                if ok:
                    ret = yield self.c.get(row(i), 's')
                    ok = ret == (OK, b'2')
                if ok:
                    i += 1
                else:
                    yield sleep(0.1)
                continue
            n = yield self.scan()
        if n != ROWS:
            self.wrong.append('a scan after the split meets %d rows of %d' % (n, ROWS))
        failures = 0
        while failures < 10:
            try:
                done = yield self.step(old, met)
            except Exception:
                failures += 1
                continue
            if done:
                if len(met) != ROWS:
                    self.wrong.append('a scanner from before the split comes to its end with %d rows of %d' % (len(met), ROWS))
                break
        print('INFO a scanner from before the split met %d rows, and failed %d times' % (len(met), failures))
        for w in self.wrong:
            print('FAIL ' + w)
        returnValue(not self.wrong)


@inlineCallbacks
def main(status):
    try:
        ok = yield Client().run()
        status.append(0 if ok else 1)
    except BaseException:
        traceback.print_exc()
        print('FAIL')
    finally:
        reactor.stop()


if __name__ == '__main__':
    status = []
    reactor.callWhenRunning(main, status)
    reactor.callLater(WHOLE, reactor.stop)
    reactor.run()
    sys.stdout.flush()
    os._exit(status[0] if status else 1)
