package s3

import (
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"pegasus/base/config"
	"pegasus/blob"
)

const roleTimeout = 5 * time.Second

// credentialsOf looks where programs look: a file if the configuration names one, else the
// environment, the usual files, the role of the machine.
func credentialsOf(c config.Blob, dial Dialer) *credentials.Credentials {
	file := &credentials.FileAWSCredentials{Filename: c.Credentials, Profile: c.Profile}
	if c.Credentials != "" || c.Profile != "" {
		return credentials.New(&found{Provider: file, where: "the file and section that s3_credentials_file and s3_profile name"})
	}
	role := &credentials.IAM{Region: c.Region, Client: &http.Client{Timeout: roleTimeout, Transport: &http.Transport{DialContext: dial, IdleConnTimeout: idleTimeout}}}
	chain := &credentials.Chain{Providers: []credentials.Provider{&credentials.EnvAWS{}, file, role}}
	return credentials.New(&found{Provider: chain, where: "the environment (AWS_ACCESS_KEY_ID), ~/.aws/credentials, the role of the machine"})
}

// found makes an error of credentials that aren't there. The library would go on without any.
type found struct {
	credentials.Provider
	where string
}

func (f *found) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := f.Provider.RetrieveWithCredContext(cc)
	switch {
	case err != nil:
		return v, blob.Failf(blob.ErrDenied, "no credentials in %s: %w", f.where, err)
	case v.AccessKeyID == "" || v.SecretAccessKey == "":
		return v, blob.Failf(blob.ErrDenied, "no credentials in %s", f.where)
	}
	return v, nil
}
