"""Walks through every operation of PyPI's pypegasus3 against a running cluster.

Run by the Go tests in the directory above, which start the cluster and pass

    PEGASUS_META     meta addresses, comma separated
    PEGASUS_CONTROL  URL where servers can be killed, restarted and primaries moved

Prints a line "PASS <phase>/<step>" or "FAIL <phase>/<step>: <why>" for each step and ends
with status 0 only if nothing failed. Runs on CPython 3.6 and up.
"""
import os
import sys
import time
import traceback
import urllib.parse
import urllib.request

from twisted.internet import reactor, threads
from twisted.internet.defer import Deferred, inlineCallbacks, returnValue

from pypegasus.base.ttypes import error_types
from pypegasus.pgclient import Pegasus, PegasusScanner
from pypegasus.rrdb.ttypes import filter_type
from pypegasus.utils.tools import MultiGetOptions, ScanOptions

OK = error_types.ERR_OK.value
NOT_FOUND = error_types.ERR_OBJECT_NOT_FOUND.value
INCOMPLETE = error_types.ERR_INCOMPLETE_DATA.value
TIMEOUT = 10000  # ms, for one operation
WHOLE = 600  # s, for everything


def sleep(seconds):
    d = Deferred()
    reactor.callLater(seconds, d.callback, None)
    return d


def eq(what, got, want):
    if got != want:
        raise AssertionError("%s: got %.300r, want %.300r" % (what, got, want))


def true(what, ok):
    if not ok:
        raise AssertionError(what)


def scan_answer(scanner, answer, orig=PegasusScanner.scan_cb):
    if not isinstance(answer, dict):
        raise AssertionError('a scan was answered %r' % (answer,))
    return orig(scanner, answer)


PegasusScanner.scan_cb = scan_answer  # the client's own words don't say what was wrong


class Walk(object):
    def __init__(self, metas, control):
        self.metas = metas
        self.control = control
        self.c = Pegasus(metas, 'temp', TIMEOUT)
        self.phase = ''
        self.kept = {}
        self.failed = 0
        self.connecting = 0
        init = self.c.init

        def counted():
            def done(result):
                self.connecting -= 1
                return result
            self.connecting += 1
            return init().addBoth(done)
        self.c.init = counted

    def key(self, name):
        return self.phase + '.' + name

    def do(self, what, **args):
        """Asks the test that started us to do something to the cluster."""
        def post():
            data = urllib.parse.urlencode(args).encode()
            with urllib.request.urlopen(self.control + '/' + what, data, 180) as r:
                return r.read().decode().strip()
        return threads.deferToThread(post)

    @inlineCallbacks
    def quiet(self):
        """Waits until the client doesn't mean to connect anew. It does so after five time-outs,
        counting those of CLEAR_SCANNER, which no server answers, and what is in flight on the
        connections that it closes then is lost."""
        self.c.timeout_times = 0
        end = time.time() + 60
        while self.c.update_partition or self.connecting:
            true('the client connects for a minute', time.time() < end)
            yield sleep(0.05)

    @inlineCallbacks
    def settle(self):
        """Waits until every partition answers this client: it learns of a dead server by
        time-outs, and asks the meta for new primaries only every two seconds."""
        start = time.time()
        for i in range(64):
            while True:
                ret = yield self.c.set('settle.%d' % i, 's', self.phase, 0, 500)
                if isinstance(ret, tuple) and ret[0] == OK:
                    break
                true('settle.%d isn\'t served: %r' % (i, ret), time.time() < start + 120)
                yield sleep(0.05)
        yield self.quiet()
        print('INFO every partition answered this client after %.1f s' % (time.time() - start))

    @inlineCallbacks
    def all(self):
        ok = yield self.c.init()
        true('init: %r' % (ok,), ok)
        yield self.run('fresh')
        r = yield self.do('kill')
        print('INFO killed: ' + r)
        yield self.settle()
        yield self.run('killed')
        r = yield self.do('restart')
        print('INFO restarted: ' + r)
        yield self.settle()
        yield self.run('restarted')
        for to in 'first', 'last':
            r = yield self.do('move', table='temp', to=to)
            print('INFO moved: ' + r)
            yield self.settle()
            yield self.run('moved-' + to)

    @inlineCallbacks
    def run(self, phase):
        self.phase = phase
        for step in (self.kept_data, self.single, self.binary, self.empty, self.big, self.ttl,
                     self.multi, self.multi_options, self.multi_range, self.sort_keys,
                     self.hash_scan, self.full_scan, self.errors):
            name = '%s/%s' % (phase, step.__name__)
            try:
                yield self.quiet()
                yield step()
            except Exception as e:
                self.failed += 1
                traceback.print_exc()
                print('FAIL %s: %s' % (name, str(e).replace('\n', ' ')))
            else:
                print('PASS ' + name)

    @inlineCallbacks
    def want(self, h, s, value):
        ret = yield self.c.get(h, s)
        eq('get %.40r %.40r' % (h, s), ret, (NOT_FOUND, b'') if value is None else (OK, value))

    @inlineCallbacks
    def put(self, h, s, v, ttl=0):
        ret = yield self.c.set(h, s, v, ttl)
        eq('set %.40r %.40r' % (h, s), ret, (OK, None))

    @inlineCallbacks
    def kept_data(self):
        for h, v in self.kept.items():
            yield self.want(h, 'kept', v)
        for i in range(50):
            h, v = self.key('kept.%d' % i), ('%s value %d' % (self.phase, i)).encode()
            yield self.put(h, 'kept', v)
            self.kept[h] = v

    @inlineCallbacks
    def single(self):
        for i in range(40):
            h = self.key('single.%d' % i)
            yield self.want(h, 's', None)
            ret = yield self.c.exist(h, 's')
            eq('exist', ret[0], NOT_FOUND)
            yield self.put(h, 's', 'v%d' % i)
            yield self.want(h, 's', b'v%d' % i)
            yield self.put(h, 's', 'again')
            yield self.want(h, 's', b'again')
            ret = yield self.c.exist(h, 's')
            eq('exist', ret[0], OK)
            ret = yield self.c.remove(h, 's')
            eq('remove', ret, (OK, None))
            yield self.want(h, 's', None)
            ret = yield self.c.remove(h, 's')
            eq('remove of what is gone', ret, (OK, None))

    @inlineCallbacks
    def binary(self):
        # Only the single-key operations take bytes; the others of this client make text of
        # everything. Its scans decode keys as UTF-8, so none of these may be left behind.
        every = bytes(bytearray(range(256)))
        h = self.phase.encode() + every
        keys = [b'\x00', b'\xff', b'\xff\xff', b'a\x00b', b'\x80\xc3\x28', every]
        for s in keys:
            yield self.put(h, s, b'\x00' + s)
        for s in keys:
            yield self.want(h, s, b'\x00' + s)
            ret = yield self.c.ttl(h, s)
            eq('ttl', ret, (OK, -1))
        ret = yield self.c.sort_key_count(h)
        eq('sort key count', ret, (OK, len(keys)))
        for s in keys:
            yield self.c.remove(h, s)
            yield self.want(h, s, None)

    @inlineCallbacks
    def empty(self):
        h = self.key('empty')
        yield self.put(h, '', 'no sort key')
        yield self.put(h, 's', '')
        yield self.want(h, '', b'no sort key')
        yield self.want(h, 's', b'')
        ret = yield self.c.sort_key_count(h)
        eq('sort key count', ret, (OK, 2))
        ret = yield self.c.multi_get(h, {'', 's'})
        eq('multi get', ret, (OK, {b'': b'no sort key', b's': b''}))
        yield self.c.remove(h, '')
        yield self.want(h, '', None)

    @inlineCallbacks
    def big(self):
        for i, n in enumerate((1000, 1 << 16, 1 << 19, 1000000, (1 << 20) - 256)):
            v = (b'\xff\x00' + bytes(bytearray([i]))) * (n // 3 + 1)
            yield self.put(self.key('big.%d' % i), 's', v[:n])
            yield self.want(self.key('big.%d' % i), 's', v[:n])
        # The limit of a write counts the whole body of the request.
        ret = yield self.c.set(self.key('big.0'), 's', b'x' * (1 << 20))
        eq('set of 1 MiB', ret, error_types.ERR_INVALID_DATA)
        yield self.put(self.key('big.0'), 's', 'still served')

    @inlineCallbacks
    def ttl(self):
        h = self.key('ttl')
        ret = yield self.c.ttl(h, 's')
        eq('ttl of nothing', ret[0], NOT_FOUND)
        yield self.put(h, 's', 'v')
        ret = yield self.c.ttl(h, 's')
        eq('ttl without expiry', ret, (OK, -1))
        yield self.put(h, 's', 'v', 1000)
        ret = yield self.c.ttl(h, 's')
        true('ttl of 1000: %r' % (ret,), ret[0] == OK and 970 <= ret[1] <= 1000)

        h = self.key('short')
        yield self.put(h, 'a', '1', 1)
        ret = yield self.c.multi_set(h, {'b': '2', 'c': '3'}, 2)
        eq('multi set', ret, (OK, None))
        yield self.put(h, 'd', '4')
        end = time.time() + 20
        while True:
            ret = yield self.c.sort_key_count(h)
            if ret == (OK, 1):
                break
            true('records don\'t expire: %r' % (ret,), time.time() < end)
            yield sleep(0.05)
        yield self.want(h, 'a', None)
        ret = yield self.c.multi_get(h, {'a', 'b', 'c', 'd'})
        eq('multi get', ret, (OK, {b'd': b'4'}))

    @inlineCallbacks
    def multi(self):
        h = self.key('multi')
        ret = yield self.c.multi_set(h, {'a': '1', 'b': '2', 'c': u'\u00e9'})
        eq('multi set', ret, (OK, None))
        ret = yield self.c.multi_get(h, {'a', 'c', 'nope'})
        eq('multi get', ret, (OK, {b'a': b'1', b'c': u'\u00e9'.encode('utf8')}))
        ret = yield self.c.multi_set(h, {'d': '4'}, 500)
        eq('multi set', ret, (OK, None))
        ret = yield self.c.ttl(h, 'd')
        true('ttl of 500: %r' % (ret,), ret[0] == OK and 470 <= ret[1] <= 500)
        ret = yield self.c.multi_del(h, {'a', 'd', 'nope'})
        eq('multi del counts the keys asked', ret, (OK, 3))
        ret = yield self.c.multi_get(h, None)
        eq('multi get of all', ret, (OK, {b'b': b'2', b'c': u'\u00e9'.encode('utf8')}))
        ret = yield self.c.multi_get(self.key('none'), {'a'})
        eq('multi get of nothing', ret, (OK, {}))

    @inlineCallbacks
    def fill(self, h):
        ret = yield self.c.multi_set(h, dict(('s%03d' % i, 'v' * 100) for i in range(250)))
        eq('multi set', ret, (OK, None))

    @inlineCallbacks
    def multi_options(self):
        h = self.key('options')
        yield self.fill(h)
        every = set('s%03d' % i for i in range(250))
        ret = yield self.c.multi_get(h, every)
        eq('multi get, default count', (ret[0], len(ret[1])), (INCOMPLETE, 100))
        ret = yield self.c.multi_get(h, every, 1000)
        eq('multi get of all', (ret[0], len(ret[1])), (OK, 250))
        ret = yield self.c.multi_get(h, every, 1000, 1000)
        eq('multi get of 1000 bytes', (ret[0], len(ret[1])), (INCOMPLETE, 10))
        ret = yield self.c.multi_get(h, every, 1000, 100000, True)
        eq('values, not asked', set(ret[1].values()), {b''})
        for ft, pattern, n in ((filter_type.FT_MATCH_PREFIX, 's12', 10),
                               (filter_type.FT_MATCH_POSTFIX, '7', 25),
                               (filter_type.FT_MATCH_ANYWHERE, '24', 13),
                               (filter_type.FT_NO_FILTER, '', 250),
                               (filter_type.FT_MATCH_PREFIX, 'none', 0)):
            o = MultiGetOptions()
            o.sortkey_filter_type, o.sortkey_filter_pattern = ft, pattern
            ret = yield self.c.multi_get_opt(h, '', '', o, 1000)
            eq('filter %r %r' % (ft, pattern), (ret[0], len(ret[1])), (OK, n))
        o = MultiGetOptions()
        o.reverse = True
        ret = yield self.c.multi_get_opt(h, '', '', o, 3)
        eq('reverse', (ret[0], sorted(ret[1])), (INCOMPLETE, [b's247', b's248', b's249']))
        o = MultiGetOptions()
        o.no_value = True
        ret = yield self.c.multi_get_opt(h, 's000', 's002', o)
        eq('no value', ret, (OK, {b's000': b'', b's001': b''}))

    @inlineCallbacks
    def multi_range(self):
        h = self.key('range')
        yield self.fill(h)
        for start, stop, si, ei, want in (('s010', 's013', True, False, [b's010', b's011', b's012']),
                                          ('s010', 's013', True, True, [b's010', b's011', b's012', b's013']),
                                          ('s010', 's013', False, False, [b's011', b's012']),
                                          ('s010', 's010', True, True, [b's010']),
                                          ('s010', 's010', True, False, []),
                                          ('s013', 's010', True, True, []),
                                          ('s248', '', False, False, [b's249'])):
            o = MultiGetOptions()
            o.start_inclusive, o.stop_inclusive = si, ei
            ret = yield self.c.multi_get_opt(h, start, stop, o)
            eq('%s %s %s %s' % (start, stop, si, ei), (ret[0], sorted(ret[1])), (OK, want))

    @inlineCallbacks
    def sort_keys(self):
        h = self.key('count')
        ret = yield self.c.sort_key_count(h)
        eq('count of nothing', ret, (OK, 0))
        ret = yield self.c.get_sort_keys(h)
        eq('sort keys of nothing', ret, (OK, {}))
        yield self.fill(h)
        ret = yield self.c.sort_key_count(h)
        eq('count', ret, (OK, 250))
        ret = yield self.c.get_sort_keys(h)
        eq('sort keys, default count', (ret[0], len(ret[1])), (INCOMPLETE, 100))
        ret = yield self.c.get_sort_keys(h, 1000)
        eq('sort keys', (ret[0], len(ret[1]), set(ret[1].values())), (OK, 250, {b''}))

    @inlineCallbacks
    def drain(self, scanner):
        rows = []
        while True:
            row = yield scanner.get_next()
            if row is None:
                break
            rows.append(row)
        scanner.close()
        returnValue(rows)

    @inlineCallbacks
    def hash_scan(self):
        h = self.key('scan')
        yield self.fill(h)
        yield self.fill(self.key('scan2'))
        for batch in (1, 7, 1000):
            # This client can't leave the stop sort key out.
            for start, stop, si, ei, n, first in (('s000', 's300', True, False, 250, 's000'),
                                                  ('s010', 's020', True, False, 10, 's010'),
                                                  ('s010', 's020', False, True, 10, 's011'),
                                                  ('s010', 's020', True, True, 11, 's010'),
                                                  ('s010', 's010', True, True, 1, 's010'),
                                                  ('t', 'u', True, True, 0, '')):
                o = ScanOptions()
                o.batch_size, o.start_inclusive, o.stop_inclusive = batch, si, ei
                rows = yield self.drain(self.c.get_scanner(h, start, stop, o))
                what = '%s %s %s %s batch %d' % (start, stop, si, ei, batch)
                eq(what, len(rows), n)
                keys = [k[1] for k, _ in rows]
                eq(what, keys, sorted(keys))
                true(what, all(k[0] == h and v == b'v' * 100 for k, v in rows))
                if n:
                    eq(what, keys[0], first)
        o = ScanOptions()
        o.batch_size = 2
        s = self.c.get_scanner(h, 's000', 's300', o)
        row = yield s.get_next()
        eq('first row', row[0], (h, 's000'))
        s.close()  # sends CLEAR_SCANNER, which isn't answered
        yield self.put(h, 's000', 'still served')

    @inlineCallbacks
    def full_scan(self):
        want = {}
        for i in range(200):
            h, v = self.key('all.%d' % i), 'v%d' % i
            yield self.put(h, 's', v)
            want[h] = v.encode()
        for split in (1, 3, 8, 20):
            for batch in (10, 1000):
                o = ScanOptions()
                o.batch_size = batch
                ss = self.c.get_unordered_scanners(split, o)
                eq('scanners', len(ss), min(split, 8))
                got = {}
                for s in ss:
                    rows = yield self.drain(s)
                    for (h, k), v in rows:
                        if h.startswith(self.key('all.')):
                            true('%r came twice' % h, h not in got)
                            got[h] = v
                eq('split %d batch %d' % (split, batch), got, want)

    @inlineCallbacks
    def errors(self):
        other = Pegasus(self.metas, 'no_such_table', TIMEOUT)
        ret = yield other.init()
        true('init of a table that isn\'t there: %r' % (ret,), not ret)
        other.close()
        ret = yield self.c.multi_get(self.key('x'), ['a list'])
        eq('multi get of a list', ret[0], error_types.ERR_INVALID_PARAMETERS.value)
        h = self.key('long')
        h += 'x' * (65534 - len(h))
        yield self.put(h, 's', 'v')
        yield self.want(h, 's', b'v')
        yield self.c.remove(h, 's')


@inlineCallbacks
def main(status):
    w = Walk(os.environ['PEGASUS_META'].split(','), os.environ['PEGASUS_CONTROL'])
    try:
        yield w.all()
        w.c.close()
        status.append(1 if w.failed else 0)
    except BaseException as e:
        traceback.print_exc()
        print('FAIL %s: %s' % (w.phase, str(e).replace('\n', ' ')))
    finally:
        reactor.stop()


if __name__ == '__main__':
    status = []
    reactor.callWhenRunning(main, status)
    reactor.callLater(WHOLE, reactor.stop)
    reactor.run()
    if not status:
        print('FAIL walk: not finished after %d s' % WHOLE)
    sys.stdout.flush()
    sys.exit(status[0] if status else 1)
