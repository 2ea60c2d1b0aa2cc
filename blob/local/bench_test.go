package local

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"pegasus/base/config"
	"pegasus/blob"
)

// BenchmarkPutSizes writes files of several sizes, as the disk of the temporary directory takes them.
func BenchmarkPutSizes(b *testing.B) {
	for _, size := range []int{1 << 20, 32 << 20, 512 << 20} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			c := config.DefaultBlob()
			c.Path = b.TempDir()
			d, err := Open(context.Background(), c)
			if err != nil {
				b.Fatal(err)
			}
			s := blob.NewStore("s", d, blob.Options{})
			data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := s.PutBytes(context.Background(), "dir/file", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
