package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
)

var runMeta serverRun = func(context.Context, config.Config, *logrus.Entry) error {
	return errors.New("this build has no meta server")
}
