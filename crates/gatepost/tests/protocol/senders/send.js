// Sends a file by nodemailer: HOST PORT TLS(yes/no) FILE RECIPIENT...
const [host, port, tls, file, ...recipients] = process.argv.slice(2);
const transport = require('nodemailer').createTransport({
  host, port: Number(port), name: 'road.test', secure: false,
  requireTLS: tls === 'yes', ignoreTLS: tls !== 'yes', tls: { rejectUnauthorized: false },
});
const envelope = { from: 's@road.test', to: recipients, use8BitMime: true };
transport.sendMail({ envelope, raw: { path: file } }, (error, info) => {
  if (error || info.rejected.length > 0) {
    console.error(error || info);
    process.exit(1);
  }
});
