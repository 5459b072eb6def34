// In the place of zarrita. NiiVue reads Zarr stores with it, which this page never opens; it would bring readers that fetch from
// any address, WebAssembly (forbidden by the page's Content-Security-Policy) and 1.4 MB.
module.exports = {};
