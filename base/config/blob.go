package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"
)

// Blob configures a place where files are kept. Keys that begin with local_, s3_ or hdfs_ have a
// meaning for that type only.
type Blob struct {
	Type         string   `toml:"type" oneof:"local s3 hdfs" def:"\"local\"" doc:"Kind of the place. local: a directory of each server, which must be the same file system on all of them (NFS, for example). s3: a bucket of an object store with the S3 protocol. hdfs: Hadoop's file system."`
	Path         string   `toml:"path" def:"\"\"" doc:"Directory below which the files are: for local an absolute path that exists, for hdfs an absolute path (default: /), for s3 what the names of objects begin with."`
	UploadRate   int64    `toml:"upload_bytes_per_second" def:"209715200" doc:"Maximum rate at which a server writes there. 0 disables the limit."`
	DownloadRate int64    `toml:"download_bytes_per_second" def:"209715200" doc:"Maximum rate at which a server reads from there. 0 disables the limit."`
	Timeout      Duration `toml:"timeout" min:"1s" def:"\"1m\"" doc:"An attempt that makes no progress for this long fails."`
	RetryTime    Duration `toml:"retry_time" min:"0s" def:"\"3m\"" doc:"How long failed attempts are repeated, counted from the first failure. Attempts that can't succeed later (access denied, no space) are not repeated."`
	LocalLenient bool     `toml:"local_without_meta" def:"false" doc:"Files without a .NAME.meta file beside them count as complete, with an unknown checksum. For a directory that was copied from HDFS or S3. Upstream's local_service ignores such files."`
	Endpoint     string   `toml:"s3_endpoint" def:"\"\"" doc:"URL of the object store, for example \"https://s3.example.com:9000\". Default: AWS, in s3_region."`
	Bucket       string   `toml:"s3_bucket" def:"\"\"" doc:"Name of the bucket, which must exist."`
	Region       string   `toml:"s3_region" def:"\"us-east-1\"" doc:"Region of the bucket."`
	PathStyle    bool     `toml:"s3_path_style" def:"true" doc:"Requests name the bucket in the path of the URL. If false, in the name of the host."`
	Credentials  string   `toml:"s3_credentials_file" def:"\"\"" doc:"File with aws_access_key_id and aws_secret_access_key, in the form of AWS. Default: the environment (AWS_ACCESS_KEY_ID and so on), then ~/.aws/credentials, then the role of the machine."`
	Profile      string   `toml:"s3_profile" def:"\"\"" doc:"Section of the credentials file. Default: AWS_PROFILE of the environment, then \"default\"."`
	CAFile       string   `toml:"s3_ca_file" def:"\"\"" doc:"File with certificates (PEM) of the authorities that the object store's certificate may be from. Default: those of the system."`
	StorageClass string   `toml:"s3_storage_class" def:"\"\"" doc:"Storage class of new objects. Default: that of the bucket."`
	NameNodes    []string `toml:"hdfs_name_nodes" form:"addr" def:"[]" doc:"Addresses (host:port) of the name nodes, all of them if there are several. Default: those of hdfs_conf_dir."`
	HadoopConf   string   `toml:"hdfs_conf_dir" def:"\"\"" doc:"Directory with Hadoop's core-site.xml and hdfs-site.xml. Keys here have precedence. Default: HADOOP_CONF_DIR of the environment, if hdfs_name_nodes is empty."`
	User         string   `toml:"hdfs_user" def:"\"\"" doc:"User of a cluster without Kerberos. Default: HADOOP_USER_NAME of the environment, then the user of the process."`
	Principal    string   `toml:"hdfs_principal" def:"\"\"" doc:"Kerberos principal of this side, for example \"pegasus@EXAMPLE.COM\". Not empty: the cluster uses Kerberos."`
	Keytab       string   `toml:"hdfs_keytab" def:"\"\"" doc:"File with the keys of hdfs_principal. Default: the ticket cache that KRB5CCNAME of the environment names."`
	Krb5Conf     string   `toml:"hdfs_krb5_conf" def:"\"/etc/krb5.conf\"" doc:"Configuration file of Kerberos."`
	NameNodeSPN  string   `toml:"hdfs_name_node_principal" def:"\"\"" doc:"Kerberos service of the name nodes, for example \"nn/_HOST\". Default: dfs.namenode.kerberos.principal of hdfs_conf_dir."`
	Protection   string   `toml:"hdfs_data_transfer_protection" def:"\"\"" doc:"Protection of the connections to data nodes: authentication or privacy (with AES). Default: dfs.data.transfer.protection of hdfs_conf_dir. \"integrity\" is not supported."`
	DataNodeHost bool     `toml:"hdfs_use_datanode_hostname" def:"false" doc:"Connect to data nodes by their names, not their addresses. The same as dfs.client.use.datanode.hostname."`
	Replication  int      `toml:"hdfs_replication" def:"0" doc:"Replication of new files. 0 uses the default of the cluster."`
}

// DefaultBlob returns the settings of an empty section [blob.NAME].
func DefaultBlob() Blob {
	var b Blob
	setDefaults(&b)
	return b
}

// BlobKeys lists the keys of a section [blob.NAME].
func BlobKeys() []string {
	var out []string
	for _, k := range templates("blob") {
		out = append(out, k.name)
	}
	return out
}

// BlobFrom makes the settings of a store of keys with their values, both as in a file, but without
// quotes; a list is separated by commas. Errors are *Error.
func BlobFrom(values map[string]string) (Blob, error) {
	text := "[blob.url]\n"
	for _, k := range templates("blob") {
		v, there := values[k.name]
		if !there {
			continue
		}
		switch k.kind() {
		case "a list of strings":
			list := strings.Split(v, ",")
			for i := range list {
				list[i] = Quote(list[i])
			}
			v = "[" + strings.Join(list, ", ") + "]"
		case "a string", "a duration":
			v = Quote(v)
		}
		text += k.name + " = " + strings.Map(oneLineOnly, v) + "\n"
	}
	c, err := Parse("", []byte(text))
	var e *Error
	if errors.As(err, &e) {
		e.Line, e.Key = 0, strings.TrimPrefix(e.Key, "blob.url.")
		return Blob{}, e
	}
	return c.Blob["url"], err
}

// Quote writes a basic string of TOML.
func Quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // strings can be encoded
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), "\x7f", `\u007f`)
}

// oneLineOnly keeps a value from being more than one.
func oneLineOnly(r rune) rune {
	if r == '\n' || r == '\r' {
		return ' '
	}
	return r
}

// check says what is wrong with a section, and in which key.
func (b *Blob) check() (name, problem, fix string) {
	def, have := reflect.ValueOf(DefaultBlob()), reflect.ValueOf(*b)
	for i := range def.NumField() {
		key := def.Type().Field(i).Tag.Get("toml")
		of, _, _ := strings.Cut(key, "_")
		if (of == "local" || of == "s3" || of == "hdfs") && of != b.Type && !reflect.DeepEqual(have.Field(i).Interface(), def.Field(i).Interface()) {
			return key, fmt.Sprintf("has no meaning for type %q", b.Type), "remove it, or change the type"
		}
	}
	switch {
	case b.Type == "local" && !path.IsAbs(b.Path):
		return "path", fmt.Sprintf("%q is no absolute path", b.Path), "write the directory, for example path = \"/mnt/backup\""
	case b.Type == "hdfs" && b.Path != "" && !path.IsAbs(b.Path):
		return "path", fmt.Sprintf("%q is no absolute path", b.Path), "write a directory of HDFS, for example path = \"/pegasus\""
	case b.Type == "s3" && b.Bucket == "":
		return "s3_bucket", "is missing", "write the name of a bucket"
	case b.Endpoint != "" && !strings.HasPrefix(b.Endpoint, "http://") && !strings.HasPrefix(b.Endpoint, "https://"):
		return "s3_endpoint", fmt.Sprintf("%q is no URL", b.Endpoint), "write http:// or https:// in front of it"
	case b.Protection != "" && b.Protection != "authentication" && b.Protection != "privacy":
		return "hdfs_data_transfer_protection", fmt.Sprintf("%q is not a valid value", b.Protection), "write authentication or privacy"
	case b.Keytab != "" && b.Principal == "":
		return "hdfs_principal", "is missing", "write the principal whose keys hdfs_keytab has"
	}
	return "", "", ""
}
