// Command weir-fetch writes an object of a bucket, s3://, gs:// or azblob://, to standard output for a function that
// fetches its model. It is a program of its own because the providers' libraries are three times as large as a
// function without them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"weir.dev/weir/functions/source"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument:
		return source.ExitRefused
	}
	return 1
}

// run writes a line with a source.Object and then, unless the object is the known one, its bytes from where the line
// says.
func run(ctx context.Context, args []string, out io.Writer) error {
	var want source.Object
	f := flag.NewFlagSet("weir-fetch", flag.ContinueOnError)
	f.Int64Var(&want.From, "from", 0, "byte to start at, if the object is still the --version")
	f.StringVar(&want.Version, "version", "", "version of the object of which there is a part")
	known := f.String("known", "", "version of the object that need not be sent")
	if err := f.Parse(args); err != nil {
		return err
	}
	u, err := url.Parse(f.Arg(0))
	if err != nil || f.NArg() != 1 {
		return errors.New("expected one address: s3://BUCKET/OBJECT, gs://BUCKET/OBJECT or azblob://CONTAINER/OBJECT")
	}
	bucket, err := blob.OpenBucket(ctx, (&url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}).String())
	if err != nil {
		return err
	}
	defer func() { _ = bucket.Close() }()
	return send(ctx, bucket, strings.TrimPrefix(u.Path, "/"), want, *known, out)
}

func send(ctx context.Context, bucket *blob.Bucket, key string, want source.Object, known string, out io.Writer) error {
	info, err := bucket.Attributes(ctx, key)
	if err != nil {
		return err
	}
	object := source.Object{Size: info.Size, Version: info.ETag, Unchanged: known != "" && info.ETag == known}
	if info.ETag != "" && info.ETag == want.Version && want.From <= info.Size {
		object.From = want.From
	}
	if err := json.NewEncoder(out).Encode(object); err != nil || object.Unchanged || object.From == info.Size {
		return err
	}
	r, err := bucket.NewRangeReader(ctx, key, object.From, -1, nil)
	if err != nil {
		return err
	}
	if r.Size() != info.Size {
		return errors.Join(errors.New("the object changed meanwhile: try again"), r.Close())
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, r.Close())
}
