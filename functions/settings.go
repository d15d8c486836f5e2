package functions

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir.dev/weir/functions/serve"
	"weir.dev/weir/functions/tensorflow"
)

// settings are what the environment and the command line say. A flag wins over the environment.
type settings struct {
	name, model, host, port, cache, logLevel string
	// batch is auto, off or a number of rows.
	batch string
	// began is when the program's own code began to run.
	began time.Time
	drain time.Duration
	// delay is waited before each prediction.
	delay      time.Duration
	limits     serve.Limits
	tensorflow tensorflow.Options
}

// fromEnvironment reads what Knative and the manifest say.
func fromEnvironment(o Options) settings {
	s := settings{
		name:     cmp.Or(os.Getenv("MODEL_NAME"), os.Getenv("K_SERVICE"), o.Name),
		host:     os.Getenv("HOST"),
		port:     cmp.Or(os.Getenv("PORT"), "8080"),
		logLevel: cmp.Or(os.Getenv("LOG_LEVEL"), "info"),
		cache:    os.Getenv("WEIR_CACHE"),
		batch:    cmp.Or(os.Getenv("WEIR_BATCH"), "auto"),
	}
	s.model = cmp.Or(os.Getenv("MODEL_DIR"), "/models/"+s.name)
	s.tensorflow.Image = o.Image
	// A number that is none is no version; the model's folder says it then.
	s.tensorflow.Version, _ = strconv.ParseInt(os.Getenv("WEIR_MODEL_VERSION"), 10, 64)
	if labels := os.Getenv("WEIR_MODEL_LABELS"); labels != "" {
		s.tensorflow.Labels = strings.Split(labels, ",")
	}
	return s
}

// flags lets the command line change the settings.
func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.model, "model", s.model, "the SavedModel: a folder, of version folders too, or an archive's address: https://, s3://, gs://, azblob:// ($MODEL_DIR)")
	f.StringVar(&s.name, "name", s.name, "the model's name in paths ($MODEL_NAME, $K_SERVICE)")
	f.StringVar(&s.host, "host", s.host, "address to listen on ($HOST; default: every one)")
	f.StringVar(&s.port, "port", s.port, "port to listen on ($PORT)")
	f.StringVar(&s.cache, "cache", s.cache, "folder for models that were fetched ($WEIR_CACHE; default: the user's cache folder)")
	f.StringVar(&s.logLevel, "log-level", s.logLevel, "debug, info, warn or error ($LOG_LEVEL)")
	f.DurationVar(&s.drain, "drain", 30*time.Second, "how long requests that run may go on at the end")
	f.DurationVar(&s.delay, "delay-for-load-tests", 0, "wait this long before each prediction: a model that takes time without work, for load tests only")
	f.Int64Var(&s.limits.Body, "max-body", 32<<20, "bytes of a request's body at most")
	f.IntVar(&s.limits.Instances, "max-instances", 1000, "instances in a JSON request at most")
	f.StringVar(&s.batch, "batch", s.batch, "rows of requests that run together at most; auto: 32, where a measurement finds a gain; off ($WEIR_BATCH)")
	t := &s.tensorflow
	f.Int64Var(&t.Version, "version", t.Version, "the model's version (default: its folder's number; $WEIR_MODEL_VERSION)")
	f.StringSliceVar(&t.Labels, "labels", t.Labels, "labels of this version, comma-separated ($WEIR_MODEL_LABELS)")
	f.IntVar(&t.IntraOpThreads, "intra-op-threads", 0, "threads of one operation (default 1)")
	f.IntVar(&t.InterOpThreads, "inter-op-threads", 0, "predictions side by side (default: the number of processors)")
	f.IntVar(&t.MaxPixels, "max-pixels", 50_000_000, "width x height of an image at most")
	f.Float64Var(&t.Image.Crop, "image-crop", t.Image.Crop, "share of an image's shorter side to keep (default: size / (size + 32))")
	f.Float64Var(&t.Image.Mean, "image-mean", t.Image.Mean, "what is taken from a pixel of 0 to 255 (default 127)")
	f.Float64Var(&t.Image.Scale, "image-scale", t.Image.Scale, "what a pixel is then divided by (default 128)")
	f.BoolVar(&t.Image.Off, "no-images", t.Image.Off, "no image API for a model that takes only floats")
}
