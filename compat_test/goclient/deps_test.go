package goclient

// What the client's own tests import, so that go.mod and go.sum cover them too.
import (
	_ "github.com/agiledragon/gomonkey"
	_ "github.com/fortytw2/leaktest"
	_ "github.com/stretchr/testify/assert"
)
