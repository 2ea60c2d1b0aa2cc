#!/usr/bin/env python3
"""Makes the tables of this folder, with RocksDB itself (python3 -m pip install rocksdict==0.3.29: RocksDB 9.8.4; ldb: Debian's rocksdb-tools).

Each has the same rows: row i of 120 has the key "k%05d" % (7*i) and the value "value of row %d. " % i, (i % 5 + 1) times;
rows with i % 10 == 9 are deletions in the tables that a database flushed (flush-*), and missing in those of a SstFileWriter.
Names say format version, checksum, compression, and what else is set."""
import glob, os, shutil, subprocess, tempfile
from rocksdict import (BlockBasedIndexType, BlockBasedOptions, ChecksumType, DataBlockIndexType, DBCompressionType, Options, Rdict,
                       SliceTransform, SstFileWriter)

here = os.path.dirname(os.path.abspath(__file__))


def rows():
    for i in range(120):
        yield b"k%05d" % (7 * i), None if i % 10 == 9 else b"value of row %d. " % i * (i % 5 + 1)


def options(version, checksum, compression, index=None, restart=16, index_restart=1, hashed=False, dictionary=0, block=512):
    o = Options(raw_mode=True)
    o.create_if_missing(True)
    o.set_compression_type(getattr(DBCompressionType, compression)())
    if dictionary:
        o.set_compression_options(-14, 32767, 0, dictionary)
    t = BlockBasedOptions()
    t.set_format_version(version)
    t.set_checksum_type(getattr(ChecksumType, checksum)())
    t.set_block_size(block)
    t.set_metadata_block_size(128)
    t.set_block_restart_interval(restart)
    t.set_index_block_restart_interval(index_restart)
    if index:
        t.set_index_type(getattr(BlockBasedIndexType, index)())
    if index == "hash_search":
        o.set_prefix_extractor(SliceTransform.create_fixed_prefix(3))
    if hashed:
        t.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
        t.set_data_block_hash_ratio(0.75)
    o.set_block_based_table_factory(t)
    return o


def write(name, **kw):
    o = options(**kw)
    out = os.path.join(here, name + ".sst")
    with tempfile.TemporaryDirectory() as d:
        if name.startswith("flush-"):
            db = Rdict(d + "/db", o)
            for k, v in rows():
                if v is None:
                    db.delete(k)
                else:
                    db[k] = v
            db.flush()
            db.close()
            (made,) = glob.glob(d + "/db/*.sst")
        else:
            made = d + "/t.sst"
            w = SstFileWriter(o)
            w.open(made)
            for k, v in rows():
                if v is not None:
                    w[k] = v
            w.finish()
        shutil.copyfile(made, out)


def main():
    for old in glob.glob(here + "/*.sst"):
        os.remove(old)
    for v in (2, 3, 4, 5, 6):
        write(f"v{v}-crc32c-none", version=v, checksum="crc32c", compression="none")
        write(f"flush-v{v}-crc32c-lz4-two", version=v, checksum="crc32c", compression="lz4", index="two_level_index_search")
        write(f"flush-v{v}-xxh3-snappy-restarts", version=v, checksum="xxh3", compression="snappy", restart=3, index_restart=4)
    for c in ("xxhash", "xxhash64", "xxh3", "no_checksum"):
        write(f"v5-{c}-none", version=5, checksum=c, compression="none")
        write(f"v6-{c}-snappy-two", version=6, checksum=c, compression="snappy", index="two_level_index_search", index_restart=3)
    for c in ("snappy", "lz4", "lz4hc", "zstd", "bz2"):
        write(f"v2-xxh3-{c}", version=2, checksum="xxh3", compression=c)
        write(f"v5-crc32c-{c}", version=5, checksum="crc32c", compression=c, block=2048)
    for c in ("lz4", "lz4hc", "zstd"):
        write(f"flush-v5-crc32c-{c}-dictionary", version=5, checksum="crc32c", compression=c, dictionary=512)
    write("flush-v5-crc32c-zstd-two-dictionary", version=5, checksum="crc32c", compression="zstd", index="two_level_index_search", dictionary=512)
    write("flush-v5-crc32c-lz4-two-dictionary", version=5, checksum="crc32c", compression="lz4", index="two_level_index_search", dictionary=512)
    write("flush-v5-crc32c-none-hashed", version=5, checksum="crc32c", compression="none", hashed=True)
    write("flush-v4-crc32c-none-hashsearch", version=4, checksum="crc32c", compression="none", index="hash_search")
    # rocksdict has no zlib, Debian's rocksdb-tools (RocksDB 7.8.3) have.
    for extra, name in (("0", "ldb-v5-xxh3-zlib"), ("512", "ldb-v5-xxh3-zlib-dictionary")):
        with tempfile.TemporaryDirectory() as d:
            text = b"".join(k + b" ==> " + v + b"\n" for k, v in rows() if v is not None)
            subprocess.run(["ldb", "--db=" + d, "--compression_type=zlib", "--block_size=512", "--compression_max_dict_bytes=" + extra,
                            "load", "--create_if_missing", "--disable_wal", "--compact"], input=text, check=True)
            (made,) = glob.glob(d + "/*.sst")
            shutil.copyfile(made, f"{here}/{name}.sst")
    # A range tombstone beside rows.
    with tempfile.TemporaryDirectory() as d:
        db = Rdict(d, options(5, "crc32c", "none"))
        for k, v in rows():
            if v is not None:
                db[k] = v
        db.delete_range(b"k00100", b"k00200")
        db.flush()
        db.close()
        (made,) = glob.glob(d + "/*.sst")
        shutil.copyfile(made, here + "/refused-range.sst")


main()
