package main

import (
	"context"
	"math"
	"os"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/logging"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/cli"
)

// blobFlags are common to commands that work with blob stores, without a cluster.
type blobFlags struct{ config, output string }

func (f *blobFlags) add(c *cobra.Command) {
	fl := c.PersistentFlags()
	fl.StringVar(&f.config, "config", os.Getenv("PEGASUS_CONFIG"), "configuration file with the stores (default from PEGASUS_CONFIG)")
	fl.StringVarP(&f.output, "output", "o", "table", "output format: table or json")
}

func (f *blobFlags) with(c *cobra.Command, do func(context.Context, *cli.Env, *blob.Set, map[string]config.Blob) error) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return err
		}
	}
	set := stores.New(cfg.Blob, logging.New(cfg.Log, c.ErrOrStderr()))
	defer set.Close()
	return do(c.Context(), &cli.Env{Out: c.OutOrStdout(), JSON: f.output == "json"}, set, cfg.Blob)
}

const blobPlace = "NAME is that of a store in the configuration file ([blob.NAME]), or a URL: file:///DIRECTORY, s3://BUCKET/PREFIX or\n" +
	"hdfs://HOST:PORT/DIRECTORY, with keys of [blob.NAME] behind a ?, for example s3://backups?endpoint=http://host:9000."

func blobCmd() *cobra.Command {
	f := &blobFlags{}
	c := &cobra.Command{Use: "blob", Short: "Show and check the places where backups are kept: directories, S3, HDFS", RunE: wantSubcommand}
	f.add(c)
	var all bool
	ls := &cobra.Command{Use: "ls [NAME [PATH]]", Short: "List the stores of the configuration, or a directory of one", Args: wantArgs(0, 2),
		Long: "List the stores of the configuration, or a directory of one.\n\n" + blobPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env, set *blob.Set, configs map[string]config.Blob) error {
				if len(a) == 0 {
					return cli.Blobs{Env: e}.Stores(ctx, set, configs)
				}
				return cli.Blobs{Env: e}.List(ctx, set, a[0], optional(a, 1), all)
			})
		}}
	ls.Flags().BoolVarP(&all, "recursive", "r", false, "list all files below the directory")
	var offset, length int64
	cat := &cobra.Command{Use: "cat NAME PATH", Short: "Write a file of a store to standard output", Args: wantArgs(2, 2),
		Long: "Write a file of a store to standard output, and fail if its checksum is wrong.\n\n" + blobPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env, set *blob.Set, _ map[string]config.Blob) error {
				return cli.Blobs{Env: e}.Cat(ctx, set, a[0], a[1], offset, length)
			})
		}}
	numberVar(cat.Flags(), &offset, "offset", "", 0, base.Range{Min: 0, Max: math.MaxInt64}, "first byte to write")
	numberVar(cat.Flags(), &length, "length", "", -1, base.Range{Min: -1, Max: math.MaxInt64}, "number of bytes; -1: to the end of the file")
	check := &cobra.Command{Use: "check NAME [PATH]", Short: "Check that a store works, or that files in it are whole", Args: wantArgs(1, 2),
		Long: "Check that a store works: write, list, read and delete a small file. With PATH: read all files below it, and compare them with\n" +
			"their checksums where the store knows them (PATH / is the whole store).\n\n" + blobPlace,
		RunE: func(c *cobra.Command, a []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env, set *blob.Set, _ map[string]config.Blob) error {
				if len(a) == 1 {
					return cli.Blobs{Env: e}.Check(ctx, set, a[0])
				}
				return cli.Blobs{Env: e}.Verify(ctx, set, a[0], optional(a, 1))
			})
		}}
	c.AddCommand(ls, cat, check)
	return c
}

// optional returns an argument that is a path in a store; "/" is the root.
func optional(a []string, i int) string {
	if i < len(a) {
		return blob.Join(a[i])
	}
	return ""
}
