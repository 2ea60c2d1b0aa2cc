# Everything is done with the Go toolchain that go.mod names; tools are pinned in go.mod.
# `make test` also runs the published clients whose runtimes it finds (see compat_test/).

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unreleased)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X pegasus/remotecmd.revision=$(REVISION)

.PHONY: all build dist gen test testtools bench onebox soak faults dupfaults fmt lint clean

all: build

# One static binary, with the profile that is checked in (docs/performance.md says how it was
# made). The first build compiles everything for it, which takes a minute or two; PGO=off is
# quicker, and a little slower to run.
PGO ?= cmd/pegasus/bench.pgo
build:
	CGO_ENABLED=0 $(GO) build -trimpath -pgo=$(PGO) -ldflags '$(LDFLAGS)' -o bin/pegasus ./cmd/pegasus

# Archives for others, their checksums, and what the program is made of (SBOM, CycloneDX), in dist/.
dist:
	rm -rf dist
	for arch in amd64 arm64; do \
		name=pegasus-$(VERSION)-linux-$$arch; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -pgo=$(PGO) -ldflags '$(LDFLAGS)' -o dist/$$name/pegasus ./cmd/pegasus && \
		cp -r README.md LICENSE config.toml.example docs packaging/systemd dist/$$name/ && \
		(cd packaging/check && GOFLAGS=-mod=readonly $(GO) tool cyclonedx-gomod bin -json -version $(VERSION) -output ../../dist/$$name.sbom.json ../../dist/$$name/pegasus) && \
		tar -C dist -czf dist/$$name.tar.gz --owner=0 --group=0 $$name && rm -r dist/$$name || exit 1; \
	done
	cd dist && sha256sum *.tar.gz *.json > SHA256SUMS

# gen/ from idl/, config.toml.example from the struct tags of base/config, docs/cli.md from the commands.
gen:
	$(GO) run ./cmd/idlgen
	$(GO) run ./cmd/pegasus config example > config.toml.example.new
	mv config.toml.example.new config.toml.example
	env -u PEGASUS_META -u PEGASUS_CONFIG $(GO) run ./cmd/pegasus reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md

# Bounded: unit tests (the meta's with a check of the order of its locks), simulator, crash
# tests, then clusters of processes with the published clients. One that fails keeps none of
# the others from running. The meta's, which mostly wait, run beside the first and are shown after them.
test:
	status=0; meta=$$(mktemp); \
	$(GO) test -timeout 30m -tags invariants ./meta >$$meta 2>&1 & pid=$$!; \
	trap "kill $$pid 2>/dev/null; rm -f $$meta" EXIT; trap 'exit 1' INT TERM; \
	$(GO) test -timeout 30m $$($(GO) list ./... | grep -v -e /compat_test -e '/meta$$') || status=1; \
	wait $$pid || status=1; cat $$meta; \
	(cd packaging/check && GOFLAGS=-mod=readonly $(GO) test -count=1 -timeout 10m .) || status=1; \
	./compat_test/run || status=1; \
	exit $$status

# Servers of other projects that tests start: an S3 server, an HDFS cluster, a ZooKeeper. Tests that lack one are left out.
testtools:
	cd blob/blobtest/s3server && GOFLAGS=-mod=readonly $(GO) build -o ../../../bin/testtools/versitygw github.com/versity/versitygw/cmd/versitygw
	mvn -q -B -f blob/blobtest/hdfscluster dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/bin/testtools/hadoop
	mvn -q -B -f cppmeta/zookeeper/zookeepertest/server dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/bin/testtools/zookeeper

# A cluster of three replica servers on this machine under load.
bench: build
	./bench/run

# A cluster of processes hurt in every way, histories checked; see docs/testing.md. Needs
# root or user namespaces, and iproute2. For example make faults DURATION=60m SEED=7
DURATION ?= 5m
SEED     ?= 1
NEMESES  ?= all
faults:
	$(GO) run ./faults/cmd/faults -clock -duration $(DURATION) -seed $(SEED) -nemeses $(NEMESES) $(FAULTS)

# The same for two clusters that duplicate a table to each other, three replica servers each.
dupfaults:
	$(GO) run ./faults/cmd/faults -mode pair -replicas 3 -duration $(DURATION) -seed $(SEED) -nemeses $(NEMESES) $(FAULTS)

# The quick start: one meta and three replica servers, table temp of 8 partitions, until
# Ctrl-C. The data is in onebox-data/.
onebox: build
	./bin/pegasus onebox

fmt:
	gofmt -w $$(git ls-files '*.go')

# Packages whose files call only down. Types are small everywhere (internal/knots).
LAYERED = ./backup/... ./blob/... ./bulkload/... ./internal/knots/... ./meta/... ./replica/... ./rocks/... ./rrdb/...

lint:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "run make fmt, not formatted: $$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) run ./internal/knots/cmd/knots -files=false ./...
	$(GO) run ./internal/knots/cmd/knots $(LAYERED)

clean:
	rm -rf bin dist

# The simulators of the replication protocol and of duplication over many seeds; every bug that is
# planted has to be found. For example make soak SEEDS=10000 FIRST_SEED=1
SEEDS      ?= 1000
FIRST_SEED ?= 1
soak:
	$(GO) run -tags invariants,plantedbugs ./pacifica/sim/cmd/soak -seeds $(SEEDS) -first $(FIRST_SEED)
	$(GO) run -tags plantedbugs ./duplication/ship/sim/cmd/soak -seeds $(SEEDS) -first $(FIRST_SEED)
