// A file of its own: a bundler runs a CommonJS import such as this one only where the importing file begins, which is after
// the ES modules beside it. Imported from here it runs before @peculiar/x509, which needs it.
import "reflect-metadata";
