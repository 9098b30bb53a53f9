"""Sends a file by smtplib: HOST PORT TLS(yes/no) UTF8(yes/no) FILE RECIPIENT..."""
import smtplib, ssl, sys

host, port, tls, utf8, file, *recipients = sys.argv[1:]
server = smtplib.SMTP(host, int(port), local_hostname="road.test")
if tls == "yes":
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    server.starttls(context=context)
server.ehlo()
options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if utf8 == "yes" else [])
with open(file, "rb") as content:
    refused = server.sendmail("s@road.test", recipients, content.read(), mail_options=options)
server.quit()
sys.exit(1 if refused else 0)
