// Package serve is a function's HTTP server: it answers predictions of one model.Model over TensorFlow Serving's REST
// API (V1), the Open Inference Protocol's REST API (V2), raw image bodies and CloudEvents, and tells its health and
// metrics. A request is decoded once into model.Tensor and an answer encoded once. The package knows no runtime.
package serve
