module pegasus-compat-goclient

go 1.26.0

require (
	github.com/agiledragon/gomonkey v2.0.2+incompatible
	github.com/apache/incubator-pegasus/go-client v0.0.0-20220617101220-e49a69d25a52
	github.com/fortytw2/leaktest v1.3.0
	github.com/stretchr/testify v1.4.0
)

require (
	github.com/apache/thrift v0.13.0 // indirect
	github.com/cenkalti/backoff/v4 v4.1.0 // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/konsorten/go-windows-terminal-sequences v1.0.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	github.com/sirupsen/logrus v1.4.2 // indirect
	golang.org/x/net v0.0.0-20191105084925-a882066a44e0 // indirect
	golang.org/x/sys v0.0.0-20191010194322-b09406accb47 // indirect
	gopkg.in/natefinch/lumberjack.v2 v2.0.0 // indirect
	gopkg.in/tomb.v2 v2.0.0-20161208151619-d5d1b5820637 // indirect
	gopkg.in/yaml.v2 v2.2.4 // indirect
	k8s.io/apimachinery v0.0.0-20191123233150-4c4803ed55e3 // indirect
)
