#!/usr/bin/env python3
"""Makes the databases of this folder, with RocksDB itself (python3 -m pip install rocksdict==0.3.29: RocksDB 9.8.4).

Beside each is NAME.jsonl with the rows that RocksDB shows: {"family", "key", "value"}. mixed has overwritten and deleted rows in tables of
several levels, ingested tables, a second and a dropped column family; range, blob and log have what can't be read."""
import json, os, random, shutil, tempfile
from rocksdict import DBCompressionType, IngestExternalFileOptions, Options, Rdict, SstFileWriter

here = os.path.dirname(os.path.abspath(__file__))


def options():
    o = Options(raw_mode=True)
    o.create_if_missing(True)
    o.set_compression_type(DBCompressionType.lz4())
    o.set_target_file_size_base(2 << 10)
    o.set_max_bytes_for_level_base(8 << 10)
    o.set_disable_auto_compactions(True)
    return o


def keep(name, path, families):
    out = os.path.join(here, name)
    shutil.rmtree(out, ignore_errors=True)
    os.mkdir(out)
    for f in os.listdir(path):
        if f == "CURRENT" or f.startswith("MANIFEST") or f.endswith((".sst", ".log", ".blob")):
            if os.path.getsize(os.path.join(path, f)) > 0:
                shutil.copyfile(os.path.join(path, f), os.path.join(out, f))
    if not families:
        return
    with open(out + ".jsonl", "w") as f:
        for family, rows in families:
            for k, v in rows:
                f.write(json.dumps({"family": family, "key": k.decode(), "value": v.decode()}) + "\n")


def mixed():
    r = random.Random(14)
    with tempfile.TemporaryDirectory() as d:
        db = Rdict(d + "/db", options())
        other = db.create_column_family("other", options())
        gone = db.create_column_family("gone", options())
        gone[b"k"] = b"of a family that was dropped"
        gone.flush()
        del gone
        db.drop_column_family("gone")
        for n in range(2400):
            k = b"key%04d" % r.randrange(400)
            if r.random() < 0.25:
                db.delete(k)
            else:
                db[k] = b"value %d of %s" % (n, k) * r.randrange(1, 4)
            if n % 3 == 0:
                other[b"other%03d" % r.randrange(200)] = b"%d" % n
            if n % 200 == 199:
                db.flush()
                other.flush()
            if n in (800, 1400):
                db.compact_range(b"key0000", b"key0250")
            if n in (1000, 1900):
                path = f"{d}/{n}.sst"
                w = SstFileWriter(options())
                w.open(path)
                for i in range(n // 100, 300, 7):
                    w[b"key%04d" % i] = b"ingested %d" % n
                w.finish()
                db.ingest_external_file([path], IngestExternalFileOptions())
        rows = [("default", list(db.items())), ("other", list(other.items()))]
        db.close()
        keep("mixed", d + "/db", rows)


def refused():
    with tempfile.TemporaryDirectory() as d:
        db = Rdict(d, options())
        for i in range(50):
            db[b"k%03d" % i] = b"v"
        db.delete_range(b"k010", b"k020")
        db.flush()
        db.close()
        keep("range", d, [])
    with tempfile.TemporaryDirectory() as d:
        o = options()
        o.set_enable_blob_files(True)
        o.set_min_blob_size(10)
        db = Rdict(d, o)
        db[b"k"] = b"a value that goes into a blob file"
        db.flush()
        db.close()
        keep("blob", d, [])
    with tempfile.TemporaryDirectory() as d:
        db = Rdict(d, options())
        db[b"k"] = b"v"
        db.flush()
        db[b"l"] = b"in the log only"
        db.flush_wal(True)
        keep("log", d, [])
        db.close()


mixed()
refused()
