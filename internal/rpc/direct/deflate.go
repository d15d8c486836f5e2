package direct

import (
	"compress/zlib"
	"io"

	"google.golang.org/grpc/encoding"

	"weir.dev/weir/internal/rpc"
)

// deflate is the other compression that gRPC's libraries in C and Java have, and clients of Triton ask for.
type deflate struct{}

// Name implements encoding.Compressor.
func (deflate) Name() string { return rpc.Deflate }

// Compress implements encoding.Compressor.
func (deflate) Compress(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }

// Decompress implements encoding.Compressor.
func (deflate) Decompress(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

// grpc-go takes compressors in no other way, that of gzip included.
func init() { encoding.RegisterCompressor(deflate{}) }
