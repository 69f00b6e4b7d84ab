const ms = require('ms')
console.log('2 days is ' + ms('2 days') + ' ms')
